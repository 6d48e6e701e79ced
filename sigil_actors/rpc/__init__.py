"""gRPC for trio on an HTTP/2 connection of this project's own."""
