"""Jobs besides the stages: pipeline, images, embeddings, ledger, specs, doctor."""
