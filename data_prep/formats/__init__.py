"""What readers share: label files, spreadsheets, AU texts, images by number, clips, archives, videos, folds."""
