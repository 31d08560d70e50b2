"""One module per runtime: a loaded model as a function from one picture to numbers."""
