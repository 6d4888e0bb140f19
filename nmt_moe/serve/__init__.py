"""A web server for trained models: a page to translate on, and LibreTranslate's protocol.

One process answers requests (``app``), and each model has a process of its own (``process`` starts
it, ``worker`` runs in it) that translates what ``schedule`` puts together across requests.
"""
