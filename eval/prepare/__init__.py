"""Downloaded data sets -> the layouts that are evaluated: ``python -m eval.prepare --data-root DIR``.

One module a data set, each with ``convert(data_root, workers) -> Report``. Sources are read, never written to. Nothing
here imports the models, so data can be prepared on a machine that has none of them.
"""
