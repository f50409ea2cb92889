"""The embedded platform of the laptop: S3 server, MLflow server, runner with progress display."""
