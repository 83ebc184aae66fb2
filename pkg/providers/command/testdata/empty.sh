: >"$1/nothing.wav"
