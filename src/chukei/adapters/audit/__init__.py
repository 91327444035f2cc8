"""The record of prompts and answers: recorded beside a request, written to files of its own by a thread."""
