echo "$(env | tr '\n' ' ') $2" >&2
exit 1
