"""An example of a plug-in for serbench: the feature set `loudness` and the classifier `nearest-centroid`."""
