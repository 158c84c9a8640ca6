"""How is the language model made? n-grams, PMI, corpus, masking, masked LM."""
