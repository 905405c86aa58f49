# env.sh - sourced before cargo builds for this machine.
# .cargo/config.toml names the OpenCV folders of an x86-64 Debian; any other host gets its own here.
multiarch=$(gcc -print-multiarch)
if [ "$multiarch" != x86_64-linux-gnu ]; then
  export OPENCV_LINK_PATHS=/usr/lib/$multiarch OPENCV_INCLUDE_PATHS=/usr/include/opencv4,/usr/include/$multiarch/opencv4
fi
