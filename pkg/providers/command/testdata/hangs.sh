# Starts a child in its group and one that leaves it, says so, and stays.
sleep 600 &
if command -v setsid >/dev/null 2>&1; then
	setsid sleep 600 &
fi
echo started >"$STARTED"
sleep 600
