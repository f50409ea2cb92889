"""The cluster's form of a deployment: a Deployment a release, one Service that names the release which serves."""
