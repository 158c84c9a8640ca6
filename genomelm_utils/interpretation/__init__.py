"""What did the models look at?"""
