"""Sentences about muscles: lexicon, grammar, prompts, answers, and scores of texts; neither torch nor transformers."""
