# What a container's root may set in its own network; run inside the container, as root of it.
set -e
ip link add br0 address 02:00:00:00:00:77 type bridge ageing_time 20000
ip link add in0 address 02:00:00:00:00:78 type veth peer name in1 address 02:00:00:00:00:79
ip link set in0 master br0
ip link set in0 type bridge_slave hairpin on
ip link set in1 alias "the inner end" mtu 1300
ip link set br0 up
ip link set in0 up
ip link set in1 up
ip addr add 10.200.0.1/24 dev br0
ip addr add 10.200.0.2/24 dev br0 label br0:2
ip addr add fd20::1/64 dev br0 nodad
ip addr add 10.201.0.1/32 dev lo
ip route add 10.202.0.0/16 via 10.200.0.9 metric 7 mtu 1200
ip route add blackhole 10.203.0.0/16
ip route add 10.204.0.0/16 table 77 nexthop via 10.200.0.9 weight 2 nexthop via 10.200.0.10
ip -6 route add fd21::/64 via fd20::9
ip rule add from 10.200.0.0/24 lookup 77 pref 500
ip -6 rule add fwmark 7 lookup 77
ip neigh add 10.200.0.9 lladdr 02:00:00:00:00:99 dev br0 nud permanent
ip neigh add proxy 10.200.0.60 dev br0
nft -f - <<'RULES'
table inet own {
  comment "a firewall"
  counter hits { }
  set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; counter; }
  set fixed { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 7000-7200 }; }
  map verdicts { type inet_service : verdict; elements = { 7101 : jump late, 22 : drop }; }
  chain late { counter comment "rarely"; accept; }
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established accept
    meta l4proto { 1, 58 } accept
    add @seen { ip saddr }
    ip saddr . tcp dport @fixed tcp dport { 7100, 7102 } ct state new counter name hits accept
    tcp dport vmap @verdicts
    limit rate 5/second log prefix "refused: "
  }
}
RULES
iptables="xtables-nft-multi iptables"
$iptables -t mangle -A PREROUTING -p tcp --dport 7100 -m conntrack --ctstate NEW,ESTABLISHED -m comment --comment "as iptables says" -j MARK --set-mark 5
$iptables -t nat -A PREROUTING -p tcp --dport 81 -j DNAT --to-destination 10.200.0.9:99
echo done
