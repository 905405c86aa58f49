#!/usr/bin/env python3
"""Draws rtcam-logo.png, the logo shown when none is configured: a dark badge, a red lamp, the name.

Needs: pip install pillow; Debian's fonts-dejavu-core. Run from anywhere; overwrites the file.
"""
import pathlib
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, FINE = 160, 48, 8  # drawn eight times larger, then averaged down: smooth edges
BOLD = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"

badge = Image.new("RGBA", (WIDTH * FINE, HEIGHT * FINE), (16, 20, 28, 0))
draw = ImageDraw.Draw(badge)
draw.rounded_rectangle((0, 0, WIDTH * FINE - 1, HEIGHT * FINE - 1), 12 * FINE, fill=(16, 20, 28, 176))
draw.ellipse((14 * FINE, 15 * FINE, 32 * FINE, 33 * FINE), fill=(229, 45, 57, 255))
font = ImageFont.truetype(BOLD, 28 * FINE)
draw.text((42 * FINE, 24 * FINE), "rtcam", font=font, fill=(255, 255, 255, 255), anchor="lm")

# premultiplied while averaging, so that transparent corners lend no colour to the edge
small = badge.convert("RGBa").resize((WIDTH, HEIGHT), Image.BOX).convert("RGBA")
small.save(pathlib.Path(__file__).with_name("rtcam-logo.png"), optimize=True)
