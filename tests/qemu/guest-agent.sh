# Runs in the guest as root (busybox sh): takes the host's commands from the shared folder, one after the other.
# /t/cmd/N.sh -> /t/cmd/N.out, then /t/cmd/N.rc. Ends when the host has said nothing for five minutes, or by `stop`.
# After a reboot it goes on with the first command that was not begun before.
export PATH=/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin HOME=/root
if [ ! -d /run/systemd/system ]; then   # the bare guest has busybox only; a Debian has its own programs
  for a in $(busybox --list); do [ -e "/bin/$a" ] || [ -e "/usr/bin/$a" ] || busybox ln -s busybox "/bin/$a"; done
  mkdir -p /etc
  echo "127.0.0.1 localhost" > /etc/hosts
fi
mkdir -p /t/cmd
n=1 idle=0
while [ -e /t/cmd/$n.begun ]; do n=$((n+1)); done
cat /proc/sys/kernel/random/boot_id > /t/cmd/ready
while [ $idle -lt 3000 ]; do
  if [ -e /t/cmd/$n.sh ]; then
    : > /t/cmd/$n.begun
    /bin/sh /t/cmd/$n.sh > /t/cmd/$n.out 2>&1
    echo $? > /t/cmd/$n.part; mv /t/cmd/$n.part /t/cmd/$n.rc
    n=$((n+1)) idle=0
  elif [ -e /t/cmd/stop ]; then break
  else busybox usleep 100000; idle=$((idle+1)); fi
done
if [ -d /run/systemd/system ]; then systemctl poweroff --force --force; fi
[ -e /t/cmd/stop ]
