echo "loading" >&2
echo "no such voice" >&2
exit 3
