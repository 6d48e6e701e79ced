"""For tests of applications that embed the runtime, and for those of this project."""
