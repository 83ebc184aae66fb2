printf 'step 1/4\r'
printf 'step 2/4\r'
printf 'step 1/4\n'
echo "$1"
echo started >"$STARTED"
sleep 600
