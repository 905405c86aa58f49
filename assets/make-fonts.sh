#!/bin/sh
# Builds the two embedded fonts, each cut down to what a camera picture needs (about 610 KB together):
#   fonts/latin.ttf  DejaVu Sans: ASCII, Latin-1 and Extended-A, Greek, Cyrillic, signs; with kerning
#   fonts/han.ttf    Droid Sans Fallback: the 3755 characters of GB2312 level 1, Chinese punctuation, full-width forms
# Needs: pip install fonttools; Debian's fonts-dejavu-core and fonts-droid-fallback. Run from anywhere; overwrites both.
set -eu
cd "$(dirname "$0")/fonts"
FONTS=${FONTS:-/usr/share/fonts/truetype}
export SOURCE_DATE_EPOCH=0

subset() {
  pyftsubset "$@" --no-hinting --no-glyph-names --notdef-outline --layout-features= --name-IDs=0,1,2 \
    --drop-tables+=GDEF,GPOS,GSUB,MATH,gasp,FFTM,vhea,vmtx
}

# kerning stays in the old kern table: the one our rasteriser reads
subset "$FONTS/dejavu/DejaVuSans.ttf" --legacy-kern --output-file=latin.ttf --unicodes="\
U+20-7E,U+A0-17F,U+2010-2015,U+2018-201E,U+2020-2022,U+2026,U+2030,U+2032,U+2033,U+2039,U+203A,U+20AC,U+2103,U+2109,\
U+2116,U+2122,U+2126,U+2190-2193,U+2212,U+221E,U+2248,U+2260,U+2264,U+2265,U+25A0,U+25A1,U+25B2,U+25BC,U+25CB,U+25CF,\
U+2605,U+2606,U+2713,U+2717,U+26A0,U+391-3A9,U+3B1-3C9,U+401,U+410-44F,U+451"

han=$(mktemp)
trap 'rm -f "$han"' EXIT
python3 - > "$han" <<'PY'
import sys
level1 = [bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF)]
text = b"".join(level1).decode("gb2312", "ignore")
assert len(text) == 3755
marks = range(0x3000, 0x3018), range(0xFF01, 0xFF5F), range(0xFFE0, 0xFFE6)
text += "".join(chr(c) for block in marks for c in block)
sys.stdout.buffer.write(text.encode())
PY
subset "$FONTS/droid/DroidSansFallbackFull.ttf" --text-file="$han" --output-file=han.ttf
ls -l latin.ttf han.ttf
