"""What the readers of the data sets share: label files and spreadsheets, AU texts, images by number, known faults, folds."""
