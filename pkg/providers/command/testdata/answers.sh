# Makes a sound file that holds its text.
printf 'RIFF\044\000\000\000WAVEfmt %s' "$2" >"$1/speech.wav"
