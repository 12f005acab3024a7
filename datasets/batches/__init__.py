"""From a store to the batches of an epoch: split, crops, augmentation."""
