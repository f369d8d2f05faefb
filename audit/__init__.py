"""What an auditor asks: is anything missing or altered, and was every step allowed?"""
