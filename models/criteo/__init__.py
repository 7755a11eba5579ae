"""Click-through rates on Criteo's logs: DLRM and DLRM-v2."""
