"""Does a model do what its score does not tell: by case, on contrast sets, in tests that a person declared?"""
