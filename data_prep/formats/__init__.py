"""What the readers of the data sets share: label files and spreadsheets, AU texts, pictures by number, known faults, folds."""
