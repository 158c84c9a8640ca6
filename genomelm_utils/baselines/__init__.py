"""What must the model beat?"""
