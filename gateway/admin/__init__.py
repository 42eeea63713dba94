"""The REST API ``/api/v1``. It knows use cases only; protocols, policy and tables are not its business."""
