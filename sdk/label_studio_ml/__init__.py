"""Put a model behind the HTTP interface that Label Studio expects of an ML backend."""

__version__ = "2.0.0"
