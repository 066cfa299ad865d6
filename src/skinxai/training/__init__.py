"""Fine-tuning: `Trainer`."""
