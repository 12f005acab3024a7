"""Who lacks which modality in training, and who has it in poor quality."""
