"""The benchmark: made-up payments of any size through the whole line, judged by what must hold and timed by phase."""
