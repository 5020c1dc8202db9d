// KafkaJS for the Python scenarios: a command a line in, an answer a line out, both JSON, bytes in base64.
//   node bridge.js BOOTSTRAP       {"id": 1, "call": "create", "args": {...}} -> {"id": 1, "ok": ...} or {"id": 1, "code": ..., "text": ...}
// KafkaJS reads only as a member of a group, so `fetch` calls the client's own Broker and Batch, as its consumer does.
'use strict'

const readline = require('readline')
const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, logLevel } = require('kafkajs')
const Batch = require('kafkajs/src/consumer/batch')
const zstd = require('@bokuweb/zstd-wasm')
const lz4 = require('lz4js')
const xxhash = require('lz4js/xxh32')
const groupCalls = require('./groups')
const transactionCalls = require('./transactions')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
// One block depends on no other, but lz4js does not say so, and Kafka reads only frames that do: the flag, and the header's checksum.
function independent(frame) {
  frame[4] |= 0x20
  frame[6] = (xxhash.hash(0, frame, 4, 2) >>> 8) & 0xff
  return frame
}
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => independent(Buffer.from(lz4.compress(encoder.buffer))),
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

const CODECS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
const TOPIC = 2
const kafka = new Kafka({
  clientId: 'suite',
  brokers: [process.argv[2]],
  logLevel: logLevel.NOTHING,
  retry: { retries: 2, initialRetryTime: 100 },
})
const admin = kafka.admin()
const bytes = text => (text === null ? null : Buffer.from(text, 'base64'))
const text = buffer => (buffer === null || buffer === undefined ? null : buffer.toString('base64'))

// The client's own Broker for a topic's leader: there is one node.
const createCluster = Object.getOwnPropertySymbols(kafka).find(s => s.description === 'private:Kafka:createCluster')
let connected
function ownCluster() {
  if (connected === undefined) {
    const cluster = kafka[createCluster]({ allowAutoTopicCreation: false })
    connected = cluster.connect().then(() => cluster)
  }
  return connected
}
async function broker(topic) {
  const cluster = await ownCluster()
  await cluster.addTargetTopic(topic)
  const [leader] = Object.keys(cluster.findLeaderForPartitions(topic, [0]))
  return cluster.findBroker({ nodeId: leader })
}

// Repeated headers are an array in KafkaJS.
function headersToClient(pairs) {
  const headers = {}
  for (const [name, value] of pairs) {
    if (name in headers) headers[name] = [].concat(headers[name], [bytes(value)])
    else headers[name] = bytes(value)
  }
  return headers
}
const headersFromClient = headers =>
  Object.entries(headers || {}).flatMap(([name, values]) => [].concat(values).map(value => [name, text(value)]))

const messageToClient = r => ({
  key: bytes(r.key),
  value: bytes(r.value),
  partition: r.partition,
  timestamp: r.timestamp === null ? undefined : String(r.timestamp),
  headers: headersToClient(r.headers),
})

const describeRecord = (partition, m) => ({
  partition,
  offset: Number(m.offset),
  timestamp: Number(m.timestamp),
  key: text(m.key),
  value: text(m.value),
  headers: headersFromClient(m.headers),
})

const calls = {
  ...groupCalls({ bootstrap: process.argv[2], admin, cluster: ownCluster, describeRecord }),
  ...transactionCalls({ kafka, messageToClient, compression: name => CompressionTypes[CODECS[name]] }),
  create: ({ topic, partitions, configs }) =>
    admin.createTopics({
      topics: [{
        topic,
        numPartitions: partitions,
        replicationFactor: 1,
        configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })),
      }],
    }).then(made => {
      // KafkaJS answers false, not an error, where the topic is there.
      if (!made) throw Object.assign(new Error('the topic exists'), { code: 36 })
    }),
  delete: ({ topic }) => admin.deleteTopics({ topics: [topic] }),
  grow: ({ topic, count }) => admin.createPartitions({ topicPartitions: [{ topic, count }] }),
  deleteRecords: ({ topic, before }) =>
    admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(before) }] }),
  topics: () => admin.listTopics(),
  describe: async ({ topic }) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    return topics[0].partitions
      .sort((a, b) => a.partitionId - b.partitionId)
      .map(p => [p.leader, p.replicas, p.isr])
  },
  cluster: async () => {
    const { clusterId, controller, brokers } = await admin.describeCluster()
    return [clusterId, controller, brokers.map(b => [b.nodeId, b.host, b.port])]
  },
  configs: async ({ topic }) => {
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: TOPIC, name: topic }] })
    return Object.fromEntries(resources[0].configEntries.map(e => [e.configName, [e.configValue, e.configSource]]))
  },
  alter: ({ topic, configs }) =>
    admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: TOPIC, name: topic, configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })) }],
    }),
  offset: async ({ topic, time }) => {
    const leader = await broker(topic)
    const topics = [{ topic, partitions: [{ partition: 0, timestamp: time }] }]
    const { responses } = await leader.listOffsets({ replicaId: -1, isolationLevel: 0, topics })
    return Number(responses[0].partitions[0].offset)
  },
  produce: async ({ topic, records, codec, acks, idempotent, batchMax }) => {
    const producer = kafka.producer({ idempotent, createPartitioner: Partitioners.DefaultPartitioner })
    await producer.connect()
    try {
      const outcomes = []
      for (let at = 0; at < records.length; at += batchMax) {
        const some = records.slice(at, at + batchMax)
        const messages = some.map(messageToClient)
        const answers = await producer.send({ topic, messages, acks, compression: CompressionTypes[CODECS[codec]] })
        const next = Object.fromEntries((answers || []).map(a => [a.partition, Number(a.baseOffset)]))
        outcomes.push(...some.map(r => (acks === 0 ? null : next[r.partition]++)))
      }
      return outcomes
    } finally {
      await producer.disconnect()
    }
  },
  fetch: async ({ topic, positions, maxBytes, waitMs, committed }) => {
    const leader = await broker(topic)
    const partitions = positions.map(([partition, offset]) => ({ partition, fetchOffset: String(offset), maxBytes }))
    const { responses } = await leader.fetch({
      replicaId: -1,
      isolationLevel: committed ? 1 : 0,
      maxWaitTime: waitMs,
      maxBytes: maxBytes * 4,
      topics: [{ topic, partitions }],
    })
    const at = Object.fromEntries(positions)
    const batches = responses.flatMap(r => r.partitions).map(p => new Batch(topic, String(at[p.partition]), p))
    return {
      records: batches.flatMap(b => b.messages.map(m => describeRecord(b.partition, m))),
      // Behind what was read, and what of it was aborted: a fetch may give nothing else.
      next: batches.filter(b => !b.isEmptyIncludingFiltered()).map(b => [b.partition, Number(b.lastOffset()) + 1]),
    }
  },
}

// The broker's error, which KafkaJS wraps: in what it gave up to retry, or in what several topics, partitions or groups answered.
function protocolError(error) {
  const inner = [error.cause, error.originalError, ...(error.errors || []), ...[...(error.partitions || []), ...(error.groups || [])].map(p => p.error)]
  return error.code !== undefined && typeof error.code === 'number' ? error : inner.filter(Boolean).map(protocolError).find(Boolean)
}

const say = answer => process.stdout.write(JSON.stringify(answer) + '\n')

async function main() {
  await zstd.init()
  await admin.connect()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, call, args } = JSON.parse(line)
    calls[call](args).then(
      ok => say({ id, ok: ok === undefined ? null : ok }),
      error => say({ id, code: (protocolError(error) || { code: -1 }).code, text: String(error.message) })
    )
  }
  process.exit(0)
}

main()
