"""The command line: the gateway's verbs for people and scripts on a terminal."""
