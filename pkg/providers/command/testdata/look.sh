# Tells what it sees: its environment, its arguments, its directory, its input.
{
	env
	for argument in "$@"; do echo "argument $argument"; done
	echo "directory $(pwd)"
	echo "stdin $(cat)"
	if [ -n "$IMAGE" ]; then cat "$IMAGE"; fi
} >"$OUTPUT/seen.txt"
