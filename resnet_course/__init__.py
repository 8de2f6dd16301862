"""What is taught, asked and graded with `resnet_lib`: probes, checks, drills, the classroom, pictures of networks."""
