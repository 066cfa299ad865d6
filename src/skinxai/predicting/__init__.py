"""Images to predictions, whatever computes the logits."""
