"""The recipe of the embedded pair: corpus, tokenizer, models, training, GGUF, evaluation.

``python -m training`` runs every step; each step is one file that can be read alone.
PyTorch is needed by the steps that train, by nothing else.
"""
