"""Jobs that combine or stand beside the stages: pipeline, images, embeddings, ledger, specs, doctor."""
