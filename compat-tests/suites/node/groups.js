// The calls about groups: members, which are consumers of their own, and the admin's.
'use strict'

const { Kafka, AssignerProtocol, logLevel } = require('kafkajs')

// Often enough that a rebalance is noticed at once, and a partition that was added.
const HEARTBEAT_MS = 200
const METADATA_MS = 500

// A member as the scenarios see it: `events` are what was given and taken, `records` what came since the last poll.
class Member {
  constructor(bootstrap, { topic, group, fromBeginning, sessionMs }) {
    this.topic = topic
    this.held = []
    this.events = []
    this.records = []
    const kafka = new Kafka({
      clientId: group,
      brokers: [bootstrap],
      logLevel: logLevel.NOTHING,
      retry: { retries: 5, initialRetryTime: 50 },
    })
    this.fromBeginning = fromBeginning
    this.consumer = kafka.consumer({
      groupId: group,
      sessionTimeout: sessionMs,
      heartbeatInterval: HEARTBEAT_MS,
      metadataMaxAge: METADATA_MS,
      maxWaitTimeInMs: 100,
    })
    this.consumer.on(this.consumer.events.REBALANCING, () => this.took())
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => this.gave(payload.memberAssignment[topic] || []))
  }

  async start(describe) {
    await this.consumer.connect()
    await this.consumer.subscribe({ topic: this.topic, fromBeginning: this.fromBeginning })
    await this.consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        this.records.push(describe(partition, message))
      },
    })
  }

  took() {
    this.events.push(['took', this.held])
    this.held = []
  }

  // It rejoins for a partition that was added without a word of rebalancing.
  gave(partitions) {
    if (this.held.length > 0) this.took()
    this.held = partitions
    this.events.push(['gave', partitions])
  }

  async poll(waitMs) {
    if (this.records.length === 0) await new Promise(resolve => setTimeout(resolve, waitMs))
    const { events, records } = this
    this.events = []
    this.records = []
    return { events, records }
  }

  commit(offsets) {
    return this.consumer.commitOffsets(offsets.map(([partition, offset]) => ({ topic: this.topic, partition, offset: String(offset) })))
  }
}

const toClient = offsets =>
  offsets.map(([partition, offset, metadata]) => ({ partition, offset: String(offset), metadata }))

// The calls, from what they need of the bridge: the client's own cluster, and how a record is told.
module.exports = ({ bootstrap, admin, cluster, describeRecord }) => {
  const members = new Map()
  return {
    groups: async () => (await admin.listGroups()).groups.map(g => g.groupId),
    describeGroup: async ({ group }) => {
      const [found] = (await admin.describeGroups([group])).groups
      const members = found.members.map(m => {
        const assigned = m.memberAssignment.length > 0 ? AssignerProtocol.MemberAssignment.decode(m.memberAssignment).assignment : {}
        return [m.memberId, m.clientId, Object.values(assigned).flat()]
      })
      return [found.state, found.protocol, members]
    },
    deleteGroup: async ({ group }) => {
      await admin.deleteGroups([group])
    },
    offsets: async ({ group, topic }) => {
      const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
      return found.partitions
        .filter(p => Number(p.offset) >= 0)
        .map(p => [p.partition, Number(p.offset), p.metadata || ''])
    },
    alterOffsets: ({ group, topic, offsets }) => admin.setOffsets({ groupId: group, topic, partitions: toClient(offsets) }),
    // Its consumer commits only as a member, so this calls the client's own Broker.
    commitAs: async ({ group, topic, offsets, member, generation }) => {
      const coordinator = await (await cluster()).findGroupCoordinator({ groupId: group })
      await coordinator.offsetCommit({
        groupId: group,
        groupGenerationId: generation,
        memberId: member,
        topics: [{ topic, partitions: toClient(offsets) }],
      })
    },
    join: async ({ member, ...how }) => {
      members.set(member, new Member(bootstrap, how))
      await members.get(member).start(describeRecord)
    },
    poll: ({ member, waitMs }) => members.get(member).poll(waitMs),
    commit: ({ member, offsets }) => members.get(member).commit(offsets),
    leave: ({ member }) => members.get(member).consumer.disconnect(),
  }
}
