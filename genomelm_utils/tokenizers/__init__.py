"""How is a sequence cut into tokens?"""
