"""The pages of the service: templates, stylesheet, script and words in three languages.

words.py holds the languages, render.py the templates. What a page shows is made by serve/views.py, and which page
answers which request is said in serve/site.py.
"""
