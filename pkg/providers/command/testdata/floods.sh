head -c 300000 /dev/zero
head -c 300000 /dev/zero >"$1/big"
exit 0
