"""The only home of tasks, threads, files and sockets."""
