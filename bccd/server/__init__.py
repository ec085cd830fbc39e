"""The page in the browser: ``bccd serve``.

``start``       from a command line to an open study
``app``         builds and runs the server
``api``         what the page's components ask of a study
``frame``       what every page has; a module for each page: ``fields_page``, ``field_page``,
                ``results_page``, ``model_page``
``preferences`` a reader's language, colours and name
``words``       the sentences, in languages/
``security``    who may ask, from where
``assets/``     the editor, the gallery and the other components, plain JavaScript modules
"""
