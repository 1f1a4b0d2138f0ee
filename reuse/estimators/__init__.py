"""Estimators for scikit-learn: layers that are already trained, in pipelines, searches and cross-validation."""
