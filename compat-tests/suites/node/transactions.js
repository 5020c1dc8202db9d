// The calls about transactions: producers of their own, with one open transaction each.
'use strict'

const { Partitioners } = require('kafkajs')

// The calls, from what they need of the bridge.
module.exports = ({ kafka, messageToClient, compression }) => {
  const producers = new Map()
  const open = new Map()
  return {
    transactional: async ({ producer, transactionalId, timeoutMs }) => {
      const made = kafka.producer({
        transactionalId,
        transactionTimeout: timeoutMs,
        idempotent: true,
        maxInFlightRequests: 1,
        createPartitioner: Partitioners.DefaultPartitioner,
      })
      await made.connect()
      producers.set(producer, made)
    },
    begin: async ({ producer }) => {
      open.set(producer, await producers.get(producer).transaction())
    },
    write: async ({ producer, topic, records, codec }) => {
      await open.get(producer).send({ topic, messages: records.map(messageToClient), compression: compression(codec) })
    },
    addOffset: ({ producer, group, topic, offset }) => {
      const partitions = [{ partition: 0, offset: String(offset) }]
      return open.get(producer).sendOffsets({ consumerGroupId: group, topics: [{ topic, partitions }] })
    },
    commitTransaction: ({ producer }) => open.get(producer).commit(),
    abortTransaction: ({ producer }) => open.get(producer).abort(),
    drop: ({ producer }) => producers.get(producer).disconnect(),
  }
}
