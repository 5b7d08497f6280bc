"""Networks of tests are small: a second thread costs more than it does."""

import torch

torch.set_num_threads(1)
