#!/usr/bin/env bash
# Runs a command beside an actual Slurm: one node (this machine), two pretend GPUs, no accounting, no systemd.
#
#   tests/slurm/with_slurm.sh .venv/bin/python -m pytest tests/slurm
#
# It needs root on Debian or Ubuntu, and installs slurm-wlm and munge where they are missing. Where that cannot
# be, the command runs all the same, and MVLPT_NO_SLURM holds the reason. Daemons, devices and configuration
# are taken away at the end.
set -eu

state=/var/tmp/mvlpt_slurm # node state, spool, logs, pids
mark="# Written by tests/slurm/with_slurm.sh"
node="$(hostname -s)"

# Why there can be no Slurm of ours here; nothing where there can.
obstacle() {
  if [ "$(id -u)" != 0 ]; then echo "not root"; return; fi
  if [ -e /etc/slurm/slurm.conf ] && ! grep -q "^$mark" /etc/slurm/slurm.conf; then
    echo "this machine has a Slurm of its own"; return
  fi
  if ! command -v slurmctld slurmd munged > /dev/null; then
    if ! command -v apt-get > /dev/null; then echo "no apt-get to install Slurm with"; return; fi
    { timeout 60 apt-get -qq update \
      && DEBIAN_FRONTEND=noninteractive timeout 120 apt-get -qq install --no-install-recommends -y slurm-wlm munge
    } > /dev/null 2>&1 || { echo "apt-get could not install slurm-wlm and munge"; return; }
  fi
  if ! { [ -e "$state/gpu0" ] || { mkdir -p "$state" && mknod "$state/gpu0" c 1 3 && : > "$state/gpu0"; }; } 2> /dev/null; then
    echo "no device files can be made"
  fi
}

configure() {
  for gpu in 0 1; do [ -e "$state/gpu$gpu" ] || mknod "$state/gpu$gpu" c 1 3; done
  mkdir -p /etc/slurm "$state/ctld" "$state/d"
  cat > /etc/slurm/slurm.conf << END
$mark
ClusterName=mvlpt
SlurmctldHost=$node
SlurmUser=root
AuthType=auth/munge
# A job whose node was lost may start again after this many seconds.
AuthInfo=cred_expire=15
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/d
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
# Measured every second, and enforced, as cgroups do on a cluster.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
ReturnToService=2
MinJobAge=3600
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=5
KillWait=2
SlurmdTimeout=15
GresTypes=gpu
NodeName=$node CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo) Gres=gpu:2
PartitionName=short Nodes=$node Default=YES MaxTime=1440 State=UP
END
  printf '%s\nAutoDetect=off\nNodeName=%s Name=gpu File=%s/gpu[0-1]\n' "$mark" "$node" "$state" > /etc/slurm/gres.conf
}

start() {
  rm -rf "$state/ctld" "$state/d" "$state"/*.log
  configure
  mkdir -p /run/munge && chown munge /run/munge
  munge -n > /dev/null 2>&1 || { runuser -u munge -- munged && touch "$state/munged"; }
  slurmctld && slurmd
  for _ in $(seq 60); do
    if [ "$(sinfo -h -o %t 2> /dev/null)" = idle ]; then return; fi
    sleep 0.5
  done
  tail -n 20 "$state"/*.log >&2
  return 1
}

stop() {
  scancel --user=root 2> /dev/null || true
  for _ in $(seq 20); do # until no job is left; its keeper would outlive the daemons
    if [ -z "$(squeue -h 2> /dev/null)" ]; then break; fi
    sleep 0.5
  done
  for daemon in slurmd slurmctld; do
    if [ -e "$state/$daemon.pid" ]; then kill "$(cat "$state/$daemon.pid")" 2> /dev/null || true; fi
  done
  if [ -e "$state/munged" ]; then kill "$(cat /run/munge/munged.pid)" 2> /dev/null || true; fi
  sleep 1
  rm -rf "$state" /etc/slurm/slurm.conf /etc/slurm/gres.conf
}

MVLPT_NO_SLURM="$(obstacle)"
if [ -z "$MVLPT_NO_SLURM" ]; then
  trap stop EXIT
  start || MVLPT_NO_SLURM="Slurm did not start"
fi
export MVLPT_NO_SLURM MVLPT_SLURM_STATE="$state"
"$@"
